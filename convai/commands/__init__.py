"""The subcommands of `convai`, a module each: HELP, add_arguments(parser) and run(args) -> exit code.

A module here imports only the standard library and convai's L0 at its top, so that its `--help` is quick;
what needs torch is imported inside `run`. convai/__main__.py has the table of commands.
"""
