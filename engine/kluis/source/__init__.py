"""The machine's own files: walking and reading them, and writing a restored tree back."""
