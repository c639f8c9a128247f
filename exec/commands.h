/* The commands of galvatron-exec: one file exec/cmd_NAME.c each. Arguments are those
 * after the command's name, argv[0] the name; the result is the exit status. */
#ifndef GALV_EXEC_COMMANDS_H
#define GALV_EXEC_COMMANDS_H

int galv_exec_run(int argc, char **argv);
int galv_exec_profile(int argc, char **argv);

#endif
