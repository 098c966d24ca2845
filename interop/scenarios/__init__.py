"""The scenarios, each in a file of its own: `ABOUT` says what it shows, `run(lab)` shows it."""
