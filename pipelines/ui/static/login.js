// The key behind # never reaches a server's log: it is taken out of the address here and sent as a form.
"use strict";
const key = new URLSearchParams(location.hash.slice(1)).get("key");
const query = document.getElementById("query");
if (!query.value) query.value = location.search.slice(1);
if (key) {
  history.replaceState(null, "", location.pathname + location.search);
  document.getElementById("key").value = key;
  document.getElementById("login").requestSubmit();
}
