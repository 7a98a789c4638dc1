// For browsers that cannot run the page at all, and servers that lack a part of it: in the oldest JavaScript, on its own.
addEventListener("load", function () {
  var root = document.documentElement;
  // page.js says so when it has begun; modules run before this.
  if (!root.getAttribute("data-page")) document.getElementById("old").removeAttribute("hidden");
});
