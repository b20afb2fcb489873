"""Packages as a REST service: an image comes, and what `abbe predict` says of it goes back.

What is here needs fastapi, uvicorn and others (``pip install 'abbe[service]'``).
"""
