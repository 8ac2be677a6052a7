"""
The parts that turn the example into a demonstration; a shop of your own needs none of them.

A stand-in for Brevo on this machine (``brevo``), the panel next to the pages
(``panel``, ``reminders``), three people to become (``people``), a made-up month
for the admin (``sample``) and a link into it (``login``).
"""
