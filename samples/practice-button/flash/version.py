print('Version: 07')
