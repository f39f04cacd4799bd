"""What texts and queries are made of: words, stems, languages."""
