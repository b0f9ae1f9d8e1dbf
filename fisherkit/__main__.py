"""``python -m fisherkit``."""

from .cli import main

raise SystemExit(main())
