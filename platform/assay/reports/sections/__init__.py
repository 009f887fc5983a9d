"""Report sections: one file is one section, named as the file."""
