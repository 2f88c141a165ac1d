"""The parts of `convai.interact`: screen and keyboard, the slash commands."""
