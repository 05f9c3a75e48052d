"""`python -m dynaloss`."""

from dynaloss.cli.main import main

if __name__ == "__main__":
    main()
