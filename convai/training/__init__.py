"""What surrounds a training: its data, its optimizers, its folder, its reports. The loop is convai.train."""
