from __future__ import annotations

REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", event =>
    console.error(`Content-Security-Policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


class Guard:
    """Watches all pages of a context, and notes anything forbidden."""

    def __init__(self, context, url):
        self._context, self._url, self.complaints = context, url, []
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self._note("uncaught", error.error))
        context.on("request", self._request)
        context.on("response", self._response)
        context.on("dialog", self._dialog)

    def close(self):
        """End the visit, and return what was noted."""
        self._context.close()
        return self.complaints

    def _note(self, kind, text):
        self.complaints.append(f"{kind}: {text}")

    def _console(self, message):
        if message.type in ("error", "warning"):
            self._note("console", f"{message.text} {message.location['url']}")

    def _request(self, request):
        if not request.url.startswith(f"{self._url}/"):
            self._note("request elsewhere", request.url)

    def _response(self, response):
        if response.status >= 400:
            self._note(response.status, response.url)
        elif response.headers.get("content-type", "").startswith("text/html"):
            self._policy(response)

    def _policy(self, response):
        if "default-src 'self'" not in response.headers.get("content-security-policy", ""):
            self._note("no Content-Security-Policy", response.url)

    def _dialog(self, dialog):
        self._note("dialog", dialog.message)
        dialog.dismiss()
