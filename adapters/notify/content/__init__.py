"""What each type of notification carries: a public contract. Add fields, never change or remove one."""
