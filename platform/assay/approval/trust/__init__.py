"""What a decision rests on besides its figures: hashed bytes, its policy, the owner of its key, the register."""
