"""Catalogue files: ``catalog.csv``, eProduct's columns, and the questions that they hold."""
