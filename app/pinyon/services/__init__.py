"""The rules of the service, on domain values only; knows no protocol and no SQL."""
