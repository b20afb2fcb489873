"""What networks of the SAM family take and answer, whatever computes it: no torch."""
