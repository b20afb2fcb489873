"""Pictures for people: composites, thumbnails, legends, scale bars."""
