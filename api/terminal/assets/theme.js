// Before the first paint: what the reader chose last, else what the system says (see style.css).
{
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}
