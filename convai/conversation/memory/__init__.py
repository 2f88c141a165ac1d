"""What a person told in earlier conversations: found, kept, corrected, recalled, and summed up."""
