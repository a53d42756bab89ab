"""The page of the paper's questions: each with a picture, sentences that are read off the records, and the records themselves.

A question is a function from evidence to an answer. What has no record yet is a visible blank. Imports no torch.
"""

from untrain.report.questions.asked import Asked as Asked
from untrain.report.questions.asked import Evidence as Evidence
from untrain.report.questions.contents import QUESTIONS as QUESTIONS
from untrain.report.questions.contents import render as render
from untrain.report.questions.sweeps import Sweep as Sweep
