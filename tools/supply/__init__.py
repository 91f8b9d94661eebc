"""What medtune is installed with: locked files, their licences, known advisories, and a bill of materials."""
