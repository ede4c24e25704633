"""Offline pages from plain data: the verdict first, then the curves and the numbers."""

from __future__ import annotations

from layerwise.report._comparison import comparison_rows as comparison_rows
from layerwise.report._format import format_bytes as format_bytes
from layerwise.report._format import format_count as format_count
from layerwise.report._format import format_metric as format_metric
from layerwise.report._format import format_seconds as format_seconds
from layerwise.report._page import render as render
from layerwise.report._runs import RunComparison as RunComparison
from layerwise.report._runs import compare_page as compare_page
from layerwise.report._runs import compare_runs as compare_runs
from layerwise.report._verdict import chance_explains as chance_explains
from layerwise.report._verdict import compared_metric as compared_metric
from layerwise.report._verdict import verdict as verdict
