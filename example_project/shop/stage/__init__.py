"""
What makes the example a demonstration; a shop of yours needs none of it.

A Brevo that is played on this machine (``brevo``), the panel beside the pages
(``panel``, ``reminders``), people to be (``people``), a made-up month for the
admin (``sample``) and a way into it (``login``).
"""
