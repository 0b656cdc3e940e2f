"""Asterisk over AMI: a hardened client, pure translation both ways, resynchronisation."""
