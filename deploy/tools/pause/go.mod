module lookalike/deploy/tools/pause

go 1.26.0
