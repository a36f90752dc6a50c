"""A page -> lines -> characters -> numbers, with confidences and boxes."""

from handwriting.reading.constraints import ConstraintError, luhn_holds, matches
from handwriting.reading.draw import annotated
from handwriting.reading.page import read
from handwriting.reading.results import Character, Line, Page

__all__ = ["Character", "ConstraintError", "Line", "Page", "annotated", "luhn_holds", "matches", "read"]
