"""A newsletter: its campaign, its templates, a few subscribers, and the page behind its unsubscribe links."""
