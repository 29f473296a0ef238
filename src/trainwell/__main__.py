"""`python -m trainwell` is the command `trainwell`."""

from trainwell.app.cli import main

if __name__ == "__main__":
    main()
