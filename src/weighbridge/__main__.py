"""``python -m weighbridge``: the same command line as ``weighbridge``."""

from weighbridge.app.main import main

if __name__ == "__main__":
    main()
