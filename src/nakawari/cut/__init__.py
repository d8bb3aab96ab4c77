"""A cut: its time sheet, its drawings, what is missing among them and where it goes."""
