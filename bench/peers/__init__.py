"""What is measured, one file each: how it is set up and started, and the commands of its client."""
