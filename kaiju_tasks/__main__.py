"""`python -m kaiju_tasks`"""

from kaiju_tasks.cli import main

if __name__ == "__main__":
    main()
