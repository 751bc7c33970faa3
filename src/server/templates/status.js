'use strict';
// Everything works without this script too; with it the page need not be reloaded.
(() => {
  const search = document.getElementById('search');
  const field = search.elements.search;
  const refresh = document.getElementById('refresh');
  const box = refresh.querySelector('input');
  const trouble = document.getElementById('trouble');
  const KEY = 'refresh';
  let asked = 0;

  // Asks the server for `address` and puts what is alive in the answer in the place of the old.
  async function show(address) {
    const turn = ++asked;
    try {
      const answer = await fetch(address, { headers: { accept: 'text/html' } });
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      if (turn !== asked) return;
      for (const part of page.querySelectorAll('[data-live]')) {
        document.getElementById(part.id).replaceWith(part);
      }
      document.title = page.title;
      trouble.hidden = true;
    } catch {
      if (turn === asked) trouble.hidden = false;
    }
  }

  function go(address) {
    history.replaceState(null, '', address);
    return show(address);
  }

  function find() {
    const text = field.value.trim();
    return go(text ? './?search=' + encodeURIComponent(text) : './');
  }

  let pause;
  field.addEventListener('input', () => {
    clearTimeout(pause);
    pause = setTimeout(find, 200);
  });
  search.addEventListener('submit', (event) => {
    event.preventDefault();
    clearTimeout(pause);
    find();
  });
  document.addEventListener('click', (event) => {
    const link = event.target.closest('.pages a');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(link.href).then(() => document.getElementById('projects-title').scrollIntoView());
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === '/' && document.activeElement !== field) {
      event.preventDefault();
      field.focus();
    }
  });

  function remember(on) {
    try {
      localStorage.setItem(KEY, on ? 'on' : 'off');
    } catch { /* Not every browser lets a page remember. */ }
  }
  function remembered() {
    try {
      return localStorage.getItem(KEY) === 'on';
    } catch {
      return false;
    }
  }
  refresh.hidden = false;
  box.checked = remembered();
  box.addEventListener('change', () => {
    remember(box.checked);
    if (box.checked) show(location.href);
  });
  setInterval(() => {
    if (box.checked && !document.hidden) show(location.href);
  }, 10000);
})();
