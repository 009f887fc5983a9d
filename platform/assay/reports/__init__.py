"""What people read of an audit: the HTML page, PDF, JUnit XML, job summary."""
