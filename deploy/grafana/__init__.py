"""The Grafana dashboards, as code; ``dashboards/`` holds what it makes."""
