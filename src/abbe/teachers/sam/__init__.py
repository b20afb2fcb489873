"""The Segment Anything family as teachers: prompts, masks, and how they are joined."""
