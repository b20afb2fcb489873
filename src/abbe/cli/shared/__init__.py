"""What the verbs share: arguments are parsed, texts printed."""
