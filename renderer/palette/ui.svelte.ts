/** What is open over every page. */
class Ui {
  palette = $state(false);
  shortcuts = $state(false);
  /** The file browser, for a file to be opened; where there are no native dialogs. */
  choosing = $state(false);
}

export const ui = new Ui();
