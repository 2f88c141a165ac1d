"""What surrounds a training: its data, its optimizers, its folder, its reports; `loop` is the loop."""
