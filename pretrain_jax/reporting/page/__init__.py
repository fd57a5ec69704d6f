"""The page of a report: style.css and charts.js, which become parts of the page."""
