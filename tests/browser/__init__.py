"""The pages of the console in a real browser: Playwright drives the Chromium of this machine."""
