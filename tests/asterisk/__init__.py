"""What only the real PBX can prove."""
