"""The demo: operators train real models under watch, some cheat, and the inspector sees only evidence."""
