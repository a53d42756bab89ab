"""What `untrain check` looks at: each question is a file that answers in plain data, and changes nothing."""
