"""What convai is measured against and no package offers: plain and faithful."""
