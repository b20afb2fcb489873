"""Many images: each lands whole, bad ones are listed, an interrupted run goes on."""
