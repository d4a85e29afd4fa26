/** What is open over every page. */
class Ui {
  palette = $state(false);
  shortcuts = $state(false);
}

export const ui = new Ui();
