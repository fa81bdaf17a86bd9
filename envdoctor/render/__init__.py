"""Reports as text: one file a format, each a pure function from Report to str."""
